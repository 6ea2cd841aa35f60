#pragma once
/**
 * The running agent: one libuv loop with a timer (readings), a socket for each front, and a UNIX socket that
 * answers one question a connection, whether a front is there or not:
 *
 *     {"ask":"status"}  ->  {"ok":true,"answer":{...}}
 *     {"ask":"conns"}   ->  {"ok":true,"answer":[...]}
 */
#include "agent/config.h"
#include "agent/shim.h"
#include "base/err.h"

/** Until SIGTERM or SIGINT. `secret` is wiped once the keys are made; `shim` has been opened, and is the
 * caller's. @return 0 or a negative errno */
int agent_run(const struct agent_config *config, uint8_t secret[32], struct agent_shim *shim,
              struct dog_err *e);
