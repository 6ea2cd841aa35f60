/*
 * The decoder of requests: whatever the bytes, it answers, reads nothing outside, and what it
 * lets through keeps the promises of message.h. The statics are reachable, being included.
 */
#include "fuzz.h"
#include "hands/message.c"

static void fuzz_name_holds(const char *name)
{
        FUZZ_NEED(strnlen(name, DOG_HANDS_NAME) < DOG_HANDS_NAME);
        FUZZ_NEED(!strchr(name, '/') && name[0] != '.');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct dog_hands_request q;
        struct dog_err e = {0};
        /* Random bytes seldom have the length: a shorter input is a request with zeros after it. */
        uint8_t whole[sizeof(q)] = {0};
        const uint32_t version = DOG_HANDS_VERSION;
        (void)dog_hands_request_read(&q, data, size, &e);
        memcpy(whole, &version, sizeof(version));
        memcpy(whole + sizeof(version), data, size < sizeof(q) - 4 ? size : sizeof(q) - 4);
        if (dog_hands_request_read(&q, whole, sizeof(whole), &e) < 0) {
                FUZZ_NEED(e.text[0] != 0);
                return 0;
        }
        if (q.op == DOG_HANDS_OBJECT_OPEN) {
                fuzz_name_holds(q.as.object.instance);
                FUZZ_NEED(q.as.object.n_sizes <= DOG_HANDS_SIZES);
        }
        if (q.op == DOG_HANDS_PROGRAM_LOAD)
                FUZZ_NEED(q.as.program.n_settings <= DOG_HANDS_SETTINGS);
        if (q.op == DOG_HANDS_MAP_FD)
                fuzz_name_holds(q.as.map.map);
        if (q.op == DOG_HANDS_TC_ATTACH) {
                fuzz_name_holds(q.as.tc.instance);
                fuzz_name_holds(q.as.tc.device);
                FUZZ_NEED(q.as.tc.is_egress <= 1 && q.as.tc.how < DOG_HANDS_TC_HOWS && q.as.tc.handle != 0);
        }
        if (q.op == DOG_HANDS_SOCKET_FRAMES)
                fuzz_name_holds(q.as.frames.device);
        if (q.op == DOG_HANDS_SOCKET_PING)
                FUZZ_NEED(q.as.ping.version == 4 || q.as.ping.version == 6);
        return 0;
}
