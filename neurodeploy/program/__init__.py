"""The `Program` and what runs give back; schedules, routes and memory derived from it."""
