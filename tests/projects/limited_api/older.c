#include "module.h"

MODULE(older, 12)
