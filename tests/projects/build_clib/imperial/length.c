int foot_per_mile(void);

int mile(void) { return foot_per_mile() / YARD; }
