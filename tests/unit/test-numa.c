/* SPDX-License-Identifier: Apache-2.0 */
/* Memory policies as numa_maps prints them. */
#include <linux/mempolicy.h>
#include <string.h>
#include "engine/capture/numa.h"
#include "tests/lib/tap.h"

static void reads(const char *text, uint32_t mode, uint8_t first, uint8_t second)
{
	struct ckpt_policy p;

	ok(ckpt_numa_parse(text, &p) && p.mode == mode && p.nodes[0] == first &&
		   p.nodes[1] == second,
	   "%.40s", text);
}

static void refuses(const char *text)
{
	struct ckpt_policy p;

	ok(!ckpt_numa_parse(text, &p), "not understood: %s", text);
}

int main(void)
{
	reads("default file=/usr/bin/cat mapped=2 N0=2 kernelpagesize_kB=4\n", MPOL_DEFAULT, 0, 0);
	reads("local anon=1\n", MPOL_LOCAL, 0, 0);
	reads("bind:0-1,3,9 anon=1 dirty=1\n", MPOL_BIND, 0x0b, 2);
	reads("prefer:1\n", MPOL_PREFERRED, 2, 0);
	reads("prefer (many):0-1 anon=1\n", MPOL_PREFERRED_MANY, 3, 0);
	reads("interleave=static:0\n", MPOL_INTERLEAVE | MPOL_F_STATIC_NODES, 1, 0);
	reads("bind=static|balancing:0\n", MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_NUMA_BALANCING,
	      1, 0);
	reads("interleave=relative:1\n", MPOL_INTERLEAVE, 2, 0);
	reads("weighted interleave:0-1", 6, 3, 0);
	refuses("unheard of:0");
	refuses("bind=strange:0");
	refuses("bind:0-");
	refuses("bind:0-1024");
	refuses("bindings");
	return tap_end();
}
