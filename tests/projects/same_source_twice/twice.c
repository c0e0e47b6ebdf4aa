#include "module.h"

int copies;

MODULE(twice, copies)
