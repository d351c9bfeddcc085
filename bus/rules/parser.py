"""Compiles a rule by recursive descent into closures. Every mistake is found here, none while it runs.

::

    rule       = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | value [ comparison ]
    comparison = ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) value
               | [ "not" ] "in" ( list | value ) | [ "not" ] "matches" TEXT
    value      = path | TEXT | NUMBER | "true" | "false" | NAME "(" value { "," value } ")" | "(" rule ")"
    list       = "(" value { "," value } ")" | "[" value { "," value } "]"
    path       = NAME { "." STEP | "[" TEXT | NUMBER "]" }
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from .. import networks
from ..regex import BadRegex
from ..spelling import nearest
from . import conditions, paths
from .calls import FUNCTIONS, Call
from .conditions import COMPARED, Test
from .mistake import BadRule
from .nodes import Node, constant
from .paths import OF_A_DELIVERY, OF_AN_EVENT, TABLES, TREES, Names, Step
from .subject import Subject
from .tokens import Token, tokens

LONGEST_RULE: Final = 2000
"""Characters."""
MOST_NESTED: Final = 32
"""Levels of parentheses, of calls and of not."""
MOST_PATTERNS: Final = 8
"""Regular expressions of one rule."""
_WORDS: Final = frozenset({"and", "or", "not", "in", "matches", "true", "false"})
_NONE: Final = frozenset({"null", "none", "None", "nil", "undefined"})
_ORDERS: Final = frozenset({"<", "<=", ">", ">="})


@dataclass(frozen=True)
class Rule:
    """A compiled rule. `names` are those it reads, `headers` (lower-case) and `parameters` as well.

    `holds` tells whether it is true of a subject: it never raises, never blocks, and its work is bounded.
    """

    text: str
    holds: Callable[[Subject], bool] = field(compare=False, repr=False)
    names: Names = frozenset()
    body_paths: tuple[str, ...] = ()
    headers: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()


def compiled(text: str, names: Names) -> Rule:
    """The rule that *text* is, in which *names* are known. Raises BadRule for the first mistake in it."""
    if len(text) > LONGEST_RULE:
        remedy = "write a shorter one, or several hooks or handlers"
        raise BadRule(text, LONGEST_RULE, f"at most {LONGEST_RULE} characters", f"{len(text)}", remedy)
    return _Parser(text, names).rule()


class _Parser:
    """What of one text has been read, and what it reads."""

    def __init__(self, text: str, names: Names) -> None:
        self._text = text
        self._known = names
        self._words = tuple(tokens(text))
        self._next = 0
        self._nested = 0
        self._patterns = 0
        self._names: set[str] = set()
        self._paths: set[str] = set()
        self._headers: set[str] = set()
        self._parameters: set[str] = set()

    def rule(self) -> Rule:
        test = self._any()
        if self._word.kind != "end":
            self._refuse(self._word, "and, or, or the end of the rule", remedy=self._remedy_behind())
        return Rule(
            self._text,
            test,
            frozenset(self._names),
            tuple(sorted(self._paths)),
            frozenset(self._headers),
            frozenset(self._parameters),
        )

    # words

    @property
    def _word(self) -> Token:
        return self._words[self._next]

    def _take(self) -> Token:
        word = self._word
        self._next += word.kind != "end"
        return word

    def _takes(self, *texts: str) -> bool:
        """Take the next word if it is one of *texts*, which are signs and words of the language."""
        is_there = self._is(*texts)
        self._next += is_there
        return is_there

    def _is(self, *texts: str) -> bool:
        return self._word.kind in ("name", "sign") and self._word.text in texts

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            self._refuse(self._word, f"{sign!r}", remedy=f"put {sign} there")

    def _refuse(self, token: Token, expected: str, got: str = "", remedy: str = "") -> NoReturn:
        raise BadRule(
            self._text, token.place, expected, got or token.shown, remedy or "see Rules in the docs"
        )

    def _remedy_behind(self) -> str:
        if self._is(*COMPARED):
            return "join two comparisons by and"
        return "join conditions by and or or; a text stands in quotes"

    def _enter(self, token: Token) -> None:
        self._nested += 1
        if self._nested > MOST_NESTED:
            self._refuse(token, f"at most {MOST_NESTED} levels", "more", "write it flatter")

    # conditions

    def _any(self) -> Test:
        tests = [self._all()]
        while self._takes("or"):
            tests.append(self._all())
        return conditions.any_of(tuple(tests)) if len(tests) > 1 else tests[0]

    def _all(self) -> Test:
        tests = [self._one()]
        while self._takes("and"):
            tests.append(self._one())
        return conditions.all_of(tuple(tests)) if len(tests) > 1 else tests[0]

    def _one(self) -> Test:
        word = self._word
        if self._takes("not"):
            self._enter(word)
            test = conditions.negated(self._one())
            self._nested -= 1
            return test
        left = self._value()
        if self._is(*COMPARED):
            return self._compared(left, self._take())
        is_negated = self._takes("not")
        if self._takes("in"):
            return self._in(left, is_negated=is_negated)
        if self._takes("matches"):
            return self._matches(left, is_negated=is_negated)
        if is_negated:
            self._refuse(self._word, "in or matches behind not", remedy="write not in front of a condition")
        if (found := left.as_test) is None:
            remedy = "compare it, or write exists(...)"
            self._refuse(left.token, "a condition", f"the value {left.token.shown}", remedy)
        return found

    def _compared(self, left: Node, sign: Token) -> Test:
        right = self._value()
        for one, other in ((left, right), (right, left)):
            self._check_compared(one, other, sign)
        read, read_other = self._getters(left, right)
        if left.is_address and right.is_constant:
            text = self._address(right)
            return conditions.compared(sign.text, read, lambda _: text)
        if sign.text == "==" and isinstance(right.constant, str):
            return conditions.is_text(read, right.constant)
        return conditions.compared(sign.text, read, read_other)

    def _check_compared(self, one: Node, other: Node, sign: Token) -> None:
        """Refuse what could never be true."""
        value = other.constant if other.is_constant else ""
        if sign.text in _ORDERS and isinstance(value, bool):
            self._refuse(other.token, f"a number or a text beside {sign.text}", remedy="write == or !=")
        if one.holds_text and not isinstance(value, str):
            remedy = f"put quotes around it, or write number({one.token.text}…) on the other side"
            self._refuse(other.token, f"a text, which {one.root} is", remedy=remedy)

    def _address(self, node: Node) -> str:
        found = networks.address(node.constant) if isinstance(node.constant, str) else None
        if found is None:
            remedy = 'write for example "192.0.2.1", or ip in "192.0.2.0/24"'
            self._refuse(node.token, "an address", remedy=remedy)
        return str(found)

    def _in(self, left: Node, *, is_negated: bool) -> Test:
        if self._is("(", "["):
            test, needed = self._in_list(left)
        else:
            right = self._value()
            if left.is_address:
                test, needed = self._in_networks(left, [right]), self._getters(left)
            else:
                needed = self._getters(left, right)
                test = conditions.is_in(*needed)
        return conditions.absent_is_false(test, *needed) if is_negated else test

    def _in_list(self, left: Node) -> tuple[Test, tuple[paths.Getter, ...]]:
        items = self._listed()
        if left.is_address:
            return self._in_networks(left, items), self._getters(left)
        for item in items:
            self._check_compared(left, item, left.token)
        needed = self._getters(left)
        if all(isinstance(item.constant, str) for item in items):
            return conditions.is_one_of(needed[0], frozenset(item.constant for item in items)), needed
        tests = [conditions.compared("==", *self._getters(left, item)) for item in items]
        return conditions.any_of(tuple(tests)), needed

    def _listed(self) -> list[Node]:
        """The items between two parentheses or brackets; a comma may stand behind the last."""
        word = self._take()
        self._enter(word)
        close = ")" if word.text == "(" else "]"
        items = [self._value()]
        while self._takes(",") and not self._is(close):
            items.append(self._value())
        self._expect(close)
        self._nested -= 1
        return items

    def _in_networks(self, left: Node, items: list[Node]) -> Test:
        (get,) = self._getters(left)
        return conditions.is_within(get, tuple(self._network(item) for item in items))

    def _network(self, node: Node) -> networks.Network:
        try:
            return networks.network(node.constant if isinstance(node.constant, str) else "")
        except ValueError as error:
            remedy = 'write for example "10.0.0.0/8"'
            if "host bits" in str(error):
                remedy = "set the bits behind the mask to 0, or write one address alone"
            self._refuse(node.token, "a network or an address, in quotes", remedy=remedy)

    def _matches(self, left: Node, *, is_negated: bool) -> Test:
        word = self._take()
        self._patterns += 1
        if word.kind != "text" or not isinstance(word.value, str):
            self._refuse(word, "a regular expression in quotes behind matches")
        if self._patterns > MOST_PATTERNS:
            expected = f"at most {MOST_PATTERNS} regular expressions"
            self._refuse(word, expected, "more", "join some of them by | in one")
        needed = self._getters(left)
        try:
            test = conditions.matches(needed[0], word.value)
        except BadRegex as error:
            remedy = "look-around and back-references are not known"
            self._refuse(word, "a regular expression of RE2", f"{word.shown}: {error}", remedy)
        return conditions.absent_is_false(test, *needed) if is_negated else test

    def _getters(self, *nodes: Node) -> tuple[paths.Getter, ...]:
        """What reads the values of *nodes*. Raises BadRule for a condition."""
        for node in nodes:
            if node.get is None:
                remedy = "join conditions by and, or and not"
                self._refuse(node.token, "a value", "a condition", remedy)
        return tuple(node.get for node in nodes if node.get is not None)

    # values

    def _value(self) -> Node:
        word = self._take()
        if word.kind in ("text", "number"):
            return constant(word, word.value)
        if word.kind == "sign" and word.text == "(":
            self._enter(word)
            node = Node(word, test=self._any())
            self._expect(")")
            self._nested -= 1
            return node
        if word.kind != "name" or word.text in _WORDS - {"true", "false"}:
            self._refuse(word, "a value", remedy=f"known are {', '.join(sorted(self._known))}")
        if word.text in ("true", "false"):
            return constant(word, word.text == "true")
        if word.text in _NONE:
            self._refuse(word, "a value", remedy="write missing(...) or exists(...)")
        return self._call(word) if self._is("(") else self._path(word)

    def _call(self, name: Token) -> Node:
        function = FUNCTIONS.get(name.text)
        if function is None:
            near = nearest(name.text, FUNCTIONS)
            remedy = f"did you mean {near}?" if near else f"known are {', '.join(FUNCTIONS)}"
            self._refuse(name, "a known function", remedy=remedy)
        given = self._listed()
        if not function.least <= len(given) <= function.most:
            got = f"{len(given)}"
            self._refuse(name, f"{function.arguments} in {name.text}(...)", got, f"write {function.example}")
        return self._called(name, function, given)

    def _called(self, name: Token, function: Call, given: list[Node]) -> Node:
        if function.takes_a_path and not given[0].root:
            self._refuse(given[0].token, f"a name in {name.text}(...)", remedy=f"write {function.example}")
        if function.of_networks:
            (get,) = self._getters(given[0])
            return Node(name, test=conditions.is_within(get, tuple(map(self._network, given[1:]))))
        getters = self._getters(*given)
        if function.makes_a_value:
            return Node(name, get=function.value(*getters))
        return Node(name, test=function.test(*getters))

    def _path(self, name: Token) -> Node:
        if name.text not in self._known:
            self._refuse_name(name)
        steps = self._steps()
        root = name.text
        if root in TABLES and len(steps) != 1:
            self._refuse(name, f"one name behind {root}", remedy=f"write for example {root}.X")
        if root not in TABLES | TREES and steps:
            self._refuse(name, f"nothing behind {root}", remedy=f"write {root} alone, it is a text")
        self._note(root, steps)
        return Node(name, get=paths.getter(root, steps), root=root)

    def _refuse_name(self, name: Token) -> NoReturn:
        expected = f"a known name ({', '.join(sorted(self._known))})"
        remedy = "a text stands in quotes"
        if name.text in OF_A_DELIVERY:
            remedy = "no stored event has it; write the rule as `when` of the [hook:NAME]"
        elif name.text in OF_AN_EVENT:
            remedy = "a delivery has none; write the rule as `when` of the handler"
        elif near := nearest(name.text, self._known):
            remedy = f"did you mean {near}?"
        self._refuse(name, expected, remedy=remedy)

    def _steps(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        while self._is(".", "["):
            sign = self._take()
            word = self._take()
            if sign.text == ".":
                if word.kind not in ("name", "number"):
                    self._refuse(word, "a name or a number behind .", remedy='or write ["..."]')
                steps.append(paths.step(word.text))
            else:
                if word.kind != "text" and not (word.kind == "number" and word.text.isdigit()):
                    self._refuse(word, "a text in quotes or a whole number in [ ]")
                steps.append(paths.step(str(word.value)))
                self._expect("]")
            if len(steps) > paths.MOST_STEPS:
                self._refuse(sign, f"at most {paths.MOST_STEPS} steps", "more", "look less deep")
        return tuple(steps)

    def _note(self, root: str, steps: tuple[Step, ...]) -> None:
        self._names.add(root)
        if root == "body":
            self._paths.add(paths.body_path(steps))
        elif root == "header":
            self._headers.add(steps[0].key.lower())
        elif root == "query":
            self._parameters.add(steps[0].key)
