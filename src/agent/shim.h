#pragma once
/**
 * The agent's part of aligned mode: the shim is loaded before privileges go, its clock is set and what it may
 * do is looked at afterwards, through descriptors that are open then. A server that cannot run one is used in
 * translated mode: the agent goes on, and its reports tell the front why.
 */
#include "agent/config.h"
#include "base/err.h"
#include "kinds/instance/shim.h"
#include "wire/agent.h"

#include <stdint.h>

struct agent_shim {
        struct instance_shim_loader *loader; /**< NULL: none runs */
        struct dog_agent_shim told;          /**< for reports */
        int64_t due_ns;
};

/**
 * Load and attach what the configuration asks for; nothing if it asks for none.
 * @return 0, also when this host cannot (logged in one sentence, told.state says why); a negative errno when
 * the key file is wrong
 */
int agent_shim_open(struct agent_shim *s, const struct agent_config *c, struct dog_err *e);
/** Let go; what is attached goes on. */
void agent_shim_close(struct agent_shim *s);
/** Call often; every ten seconds the clock is told to the programs, and whether the kernel lets them. */
void agent_shim_tick(struct agent_shim *s, int64_t now_ns, int64_t wall_ns);
/** Take the shim off this host's devices and forget its maps. */
int agent_shim_remove(const struct agent_config *c, struct dog_err *e);
