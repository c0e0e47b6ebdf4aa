#include "module.h"

int renamed(void);

MODULE(first, renamed())
