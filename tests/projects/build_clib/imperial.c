#include "module.h"

int mile(void);

MODULE(imperial, mile())
