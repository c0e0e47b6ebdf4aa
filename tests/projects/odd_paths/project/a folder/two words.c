int two_words(void) { return 100; }
