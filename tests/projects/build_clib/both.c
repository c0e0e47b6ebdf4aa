#include "module.h"

int kilometre(void);
int mile(void);

MODULE(both, kilometre() + mile())
