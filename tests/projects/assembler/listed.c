#include "module.h"

extern int number;

MODULE(listed, number)
