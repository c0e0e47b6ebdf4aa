#include "module.h"

#include "a_header_that_is_not_there.h"

MODULE(broken, 2)
