/* Data alone, so that every processor's assembler takes it. */
    .data
    .globl number
    .balign 4
number:
    .long NUMBER
    .section .note.GNU-stack, "", %progbits
