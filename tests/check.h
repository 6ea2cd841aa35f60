#pragma once
/**
 * Tests read as statements. OK notes a failure and goes on; NEED stops the test, for when
 * going on would make no sense. Both say the sentence they were given.
 *
 * A test program is a list of functions whose names are sentences:
 *     int main(void)
 *     {
 *             return CHECK_RUN(TEST(a_group_moves_only_for_more_than_the_margin),
 *                              TEST(an_empty_group_stays_empty));
 *     }
 * It prints TAP, so meson counts each function. cmocka runs them: a crash in one is reported
 * and the next one still runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

extern int check_failures;

#define OK(condition, ...)                                                                                   \
        do {                                                                                                 \
                if (!(condition)) {                                                                          \
                        check_failures++;                                                                    \
                        fprintf(stderr, "# %s:%d: not so: %s: ", __FILE__, __LINE__, #condition);            \
                        fprintf(stderr, __VA_ARGS__);                                                        \
                        fprintf(stderr, "\n");                                                               \
                }                                                                                            \
        } while (0)

#define NEED(condition, ...)                                                                                 \
        do {                                                                                                 \
                if (!(condition)) {                                                                          \
                        OK(condition, __VA_ARGS__);                                                          \
                        fail_msg("cannot go on: %s", #condition);                                            \
                }                                                                                            \
        } while (0)

#define NEAR(a, b, tolerance) ((a) - (b) < (tolerance) && (b) - (a) < (tolerance))

#define TEST(function)                                                                                       \
        {                                                                                                    \
#function, check_call_, NULL, NULL, (void *)(uintptr_t)(function)                            \
        }
#define CHECK_RUN(...)                                                                                       \
        ({                                                                                                   \
                const struct CMUnitTest check_list_[] = {__VA_ARGS__};                                       \
                check_begin_();                                                                              \
                cmocka_set_message_output(CM_OUTPUT_TAP);                                                    \
                cmocka_run_group_tests(check_list_, NULL, NULL);                                             \
        })

/**
 * So many rounds of chance, or a fourth of them under sanitizers: the other build runs them all, and these
 * look for what a fourth shows as well.
 */
#if defined(__SANITIZE_ADDRESS__)
#define CHECK_ROUNDS(n) (((n) + 3) / 4)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECK_ROUNDS(n) (((n) + 3) / 4)
#endif
#endif
#ifndef CHECK_ROUNDS
#define CHECK_ROUNDS(n) (n)
#endif

/** Leave the test as skipped, with a sentence that says what is missing. */
#define SKIP(...)                                                                                            \
        do {                                                                                                 \
                fprintf(stderr, "# skipped: ");                                                              \
                fprintf(stderr, __VA_ARGS__);                                                                \
                fprintf(stderr, "\n");                                                                       \
                skip();                                                                                      \
        } while (0)

void check_call_(void **state);
void check_begin_(void);
