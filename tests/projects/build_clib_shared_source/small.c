#include "module.h"

int little(void);

MODULE(small, little())
