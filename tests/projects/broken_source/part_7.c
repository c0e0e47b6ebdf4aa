int part_7(void) { return this_name_was_never_declared; }
