/* How many of the three flags this source was compiled with. */
int steps(void)
{
    int count = 0;
#ifdef STEP_FIRST
    count += 1;
#endif
#ifdef STEP_SECOND
    count += 1;
#endif
#ifdef STEP_THIRD
    count += 1;
#endif
    return count;
}
