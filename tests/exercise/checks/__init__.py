"""The checks of each exercise: functions check_..., run in order."""
