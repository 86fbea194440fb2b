/* SPDX-License-Identifier: Apache-2.0 */
/* What a process is called and where it is: comm, exe, cwd, umask, arguments, environment,
 * auxiliary vector, settings. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define ARCH_GET_CPUID 0x1011 /* Linux 4.12 */
#define ARCH_SET_CPUID 0x1012

static char cwd[PATH_MAX], exe[PATH_MAX], *cmdline, *environment, *auxv;
static size_t cmdline_len, environment_len, auxv_len;
static const char *platform;

static void setup(void)
{
	CHECK_CALL(mkdir("below", 0755));
	CHECK_CALL(chdir("below"));
	CHECK(getcwd(cwd, sizeof(cwd)));
	CHECK_CALL(readlink("/proc/self/exe", exe, sizeof(exe)));
	umask(027);
	CHECK_CALL(prctl(PR_SET_NAME, "an odd (name) "));
	CHECK_CALL(setenv("AFTERWARDS", "set", 1));
	cmdline = test_read("/proc/self/cmdline", &cmdline_len);
	environment = test_read("/proc/self/environ", &environment_len);
	auxv = test_read("/proc/self/auxv", &auxv_len);
	CHECK(cmdline && environment && auxv);
	platform = (const char *)getauxval(AT_PLATFORM);
}

static bool same(const char *path, const char *text, size_t len)
{
	size_t n;
	char *now = test_read(path, &n);

	return now && n == len && !memcmp(now, text, len);
}

static void check(void)
{
	char now[PATH_MAX] = "", name[17] = "";
	struct stat st;
	int fd;

	CHECK(getcwd(now, sizeof(now)));
	CHECK_TEXT(now, cwd);
	memset(now, 0, sizeof(now));
	CHECK_CALL(readlink("/proc/self/exe", now, sizeof(now)));
	CHECK_TEXT(now, exe);
	CHECK_CALL(prctl(PR_GET_NAME, name));
	CHECK_TEXT(name, "an odd (name) ");
	fd = CHECK_CALL(open("made", O_CREAT | O_WRONLY, 0777));
	CHECK_CALL(fstat(fd, &st));
	CHECK_INT(st.st_mode & 0777, 0750);
	CHECK(same("/proc/self/cmdline", cmdline, cmdline_len));
	CHECK(same("/proc/self/environ", environment, environment_len));
	CHECK(same("/proc/self/auxv", auxv, auxv_len));
	CHECK_TEXT(getenv("AFTERWARDS"), "set");
	CHECK_TEXT((const char *)getauxval(AT_PLATFORM), platform);
	CHECK(getauxval(AT_RANDOM));
}

/* The arguments can be overwritten, as daemons do to show what they are at. */
static void setup_title(void)
{
	char *p = test_read("/proc/self/stat", NULL), *word;
	unsigned long arg_start = 0;
	int field = 3;

	for (word = strtok(strrchr(p, ')') + 1, " "); word; word = strtok(NULL, " "), field++)
		if (field == 48)
			arg_start = strtoul(word, NULL, 10);
	CHECK(arg_start);
	strcpy((char *)arg_start, "master");
}

static void check_title(void)
{
	char *now = test_read("/proc/self/cmdline", NULL);

	CHECK_TEXT(now, "master");
}

static long mce_kill, no_cpuid;
static pthread_t timeless_thread;
static sem_t timeless[2];
static int tsc;

/* Only a thread that never looks at the clock (the vDSO reads the counter) can do without. A
 * sanitizer does so when a thread ends. */
static void *be_timeless(void *arg)
{
	CHECK_CALL(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
	sem_post(&timeless[0]);
	sem_wait(&timeless[1]);
	CHECK_CALL(prctl(PR_GET_TSC, &tsc));
	CHECK_CALL(prctl(PR_SET_TSC, PR_TSC_ENABLE));
	return arg;
}

static void setup_settings(void)
{
	CHECK_CALL(personality(ADDR_NO_RANDOMIZE));
	CHECK_CALL(prctl(PR_SET_CHILD_SUBREAPER, 1));
	CHECK_CALL(prctl(PR_SET_TIMERSLACK, 123456));
	CHECK_CALL(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	CHECK_CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(!sem_init(&timeless[0], 0, 0) && !sem_init(&timeless[1], 0, 0));
	CHECK(!pthread_create(&timeless_thread, NULL, be_timeless, NULL));
	CHECK_CALL(sem_wait(&timeless[0]));
	/* A kernel without has none to keep. */
	mce_kill = prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	no_cpuid = syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
}

static void check_settings(void)
{
	int value = 0;

	CHECK_INT(personality(0xffffffff), ADDR_NO_RANDOMIZE);
	CHECK_CALL(prctl(PR_GET_CHILD_SUBREAPER, &value));
	CHECK_INT(value, 1);
	CHECK_INT(prctl(PR_GET_TIMERSLACK), 123456);
	CHECK_INT(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 1);
	CHECK_INT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
	CHECK_INT(prctl(PR_GET_DUMPABLE), 1);
	CHECK_CALL(prctl(PR_GET_TSC, &value));
	CHECK_INT(value, PR_TSC_ENABLE);
	sem_post(&timeless[1]);
	CHECK(!pthread_join(timeless_thread, NULL));
	CHECK_INT(tsc, PR_TSC_SIGSEGV);
	if (!mce_kill)
		CHECK_INT(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
	if (!no_cpuid)
		CHECK_INT(syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0), 0);
}

static void setup_undumpable(void)
{
	CHECK_CALL(prctl(PR_SET_DUMPABLE, 0));
}

static void check_undumpable(void)
{
	CHECK_INT(prctl(PR_GET_DUMPABLE), 0);
}

/* The same kernel afterwards, by chance: the names are those of the machine. */
static struct utsname names;

static void setup_names(void)
{
	CHECK_CALL(uname(&names));
}

static void check_names(void)
{
	struct utsname now;

	CHECK_CALL(uname(&now));
	CHECK_TEXT(now.nodename, names.nodename);
}

CASES({ "name, place, arguments and environment stay", setup, check },
      { "an overwritten command line stays", setup_title, check_title },
      { "settings made by prctl and personality stay", setup_settings, check_settings },
      { "a process that may not be dumped by others stays so", setup_undumpable, check_undumpable,
	.flags = CASE_ROOT },
      { "the host keeps its name", setup_names, check_names, .flags = CASE_ONCE })
