#include "check.h"

int check_failures;

void check_call_(void **state)
{
        void (*test)(void) = (void (*)(void))(uintptr_t)*state;
        check_failures = 0;
        test();
        if (check_failures)
                fail_msg("%d statement(s) did not hold", check_failures);
}
