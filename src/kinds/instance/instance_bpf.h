#pragma once
/** The generated skeletons of the data plane; their code is not held to our warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#include "instance_tc.skel.h"
#include "instance_xdp.skel.h"
#pragma GCC diagnostic pop
