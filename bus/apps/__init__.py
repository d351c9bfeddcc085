"""What may run: functions of the user's apps, and the commands of the configuration."""
