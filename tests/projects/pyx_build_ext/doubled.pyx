def value():
    return 2 * 21
