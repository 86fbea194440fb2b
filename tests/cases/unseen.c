/* SPDX-License-Identifier: Apache-2.0 */
/* State that /proc does not show: it is asked for, and named where it cannot be kept. */
#include <asm/ldt.h>
#include <errno.h>
#include <linux/keyctl.h>
#include <pthread.h>
#include <string.h>
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

CASES({ "keys of a process and of a thread stay with who goes on", setup_keys, check_keys,
	.flags = CASE_STAYS },
      { "segments of its own are named", setup_segment, check_segment,
	.refused = { "it has segments of its own (modify_ldt(2))" } },
      { "who writes for others goes on doing so", setup_flusher, check_flusher,
	.flags = CASE_ROOT })
