int foot_per_mile(void) { return 5280; }
