#include "module.h"

__asm__(".data\nnumber: .incbin \"number.bin\"\n.text\n");
extern unsigned char number[];

MODULE(first, number[0])
