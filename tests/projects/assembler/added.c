#include "module.h"

extern int number;

MODULE(added, number)
