def value():
    return 3 * 21
