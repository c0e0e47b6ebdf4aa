int twice(int number);

// Throwing needs the C++ runtime, so a link by the C compiler would not load.
static int checked(int number)
{
    if (number < 0)
        throw number;
    return twice(number) / 2;
}

extern "C" int sum_to(int last)
{
    int sum = 0;
    try {
        for (int number = last;; --number)
            sum += checked(number);
    } catch (int) {
    }
    return sum;
}
