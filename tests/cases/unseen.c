/* SPDX-License-Identifier: Apache-2.0 */
/* State that /proc does not show: it is asked for, and named where it cannot be kept. */
#include <asm/ldt.h>
#include <errno.h>
#include <linux/keyctl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

/* ---- keyrings ---- */

static void add_key(const char *name, int keyring)
{
	if (syscall(SYS_add_key, "user", name, "secret", 6, keyring) < 0)
		case_skip("no keys: %m");
}

static void *thread(void *arg)
{
	add_key("ckpt-test-thread", KEY_SPEC_THREAD_KEYRING);
	*(bool *)arg = true;
	for (;;)
		pause();
	return NULL;
}

static void setup_keys(void)
{
	static volatile bool ready;
	pthread_t t;

	add_key("ckpt-test", KEY_SPEC_PROCESS_KEYRING);
	CHECK(!pthread_create(&t, NULL, thread, (void *)&ready));
	while (!ready)
		usleep(1000);
}

/* Nobody gets one by being asked. */
static void check_keys(void)
{
	CHECK_INT(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 0), -1);
	CHECK_INT(errno, ENOKEY);
	CHECK_CALL(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0));
}

/* ---- segments ---- */

static void setup_segment(void)
{
	struct user_desc desc = { .entry_number = 3, .limit = 0xfff, .seg_32bit = 1, .useable = 1 };

	if (syscall(SYS_modify_ldt, 0x11, &desc, sizeof(desc)) < 0)
		case_skip("no segments: %m");
}

static void check_segment(void)
{
	uint64_t desc[4] = { 0 };

	CHECK_INT(syscall(SYS_modify_ldt, 0, desc, sizeof(desc)), sizeof(desc));
	CHECK(desc[3]);
}

/* ---- who writes for others ---- */

static void setup_flusher(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		case_skip("no I/O flusher: %m");
}

static void check_flusher(void)
{
	CHECK_INT(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0), 1);
}

/* ---- what prctl(2) switches for good ---- */

#define PR_SET_MDWE 65         /* Linux 6.3 */
#define PR_SET_MEMORY_MERGE 67 /* Linux 6.4 */

static void *page;

static void setup_hardened(void)
{
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (prctl(PR_SET_MDWE, 1, 0, 0, 0) < 0)
		case_skip("memory may not be refused to be executed: %m");
}

static void check_hardened(void)
{
	CHECK_INT(prctl(PR_SET_MDWE + 1, 0, 0, 0, 0), 1);
	CHECK_INT(mprotect(page, 4096, PROT_READ | PROT_EXEC), -1);
	CHECK_INT(errno, EACCES);
}

static void setup_merged(void)
{
	if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) < 0)
		case_skip("no merging of a process's pages: %m");
}

static void check_merged(void)
{
	CHECK_INT(prctl(PR_SET_MEMORY_MERGE + 1, 0, 0, 0, 0), 1);
}

static long store_bypass, indirect_branch;

static void setup_speculation(void)
{
	prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0);
	prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE, 0, 0);
	store_bypass = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
	indirect_branch = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0);
	if (!(store_bypass > 0 && store_bypass & PR_SPEC_PRCTL) &&
	    !(indirect_branch > 0 && indirect_branch & PR_SPEC_PRCTL))
		case_skip("nothing to be chosen of speculation");
}

static void check_speculation(void)
{
	CHECK_INT(prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0), store_bypass);
	CHECK_INT(prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0),
		  indirect_branch);
}

CASES({ "keys of a process and of a thread stay with who goes on", setup_keys, check_keys,
	.flags = CASE_STAYS },
      { "segments of its own are named", setup_segment, check_segment,
	.refused = { "it has segments of its own (modify_ldt(2))" } },
      { "who writes for others goes on doing so", setup_flusher, check_flusher,
	.flags = CASE_ROOT },
      { "no memory becomes executable any more", setup_hardened, check_hardened },
      { "pages are merged with those of others", setup_merged, check_merged },
      { "speculation that it has given up stays so", setup_speculation, check_speculation })
