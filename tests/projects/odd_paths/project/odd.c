#include "module.h"

int beside(void);
int absolute(void);
int two_words(void);
int smorbrod(void);

MODULE(odd, beside() + absolute() + two_words() + smorbrod())
