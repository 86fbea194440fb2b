/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts programs with the library preloaded. The environment is changed only for the fork: neither
 * ckpt nor the tests themselves have the library.
 */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/lib/inside.h"

static char *beside(const char *ckpt, const char *name)
{
	char *copy = strdup(ckpt), *path = test_text("%s/%s", dirname(copy), name);

	free(copy);
	if (access(path, R_OK) == 0)
		return path;
	free(path);
	return NULL;
}

bool inside_find(struct inside *in, const char *ckpt)
{
	in->library = ckpt ? beside(ckpt, "libckpt-inproc.so") : NULL;
	in->requester = ckpt ? beside(ckpt, "ckpt-signal") : NULL;
	return in->library && in->requester;
}

bool inside_copy(struct inside *in, const char *dir)
{
	char *library = test_text("%s/libckpt-inproc.so", dir);
	char *requester = test_text("%s/ckpt-signal", dir);

	if (!test_copy(in->library, library, 0755) || !test_copy(in->requester, requester, 0755))
		return false;
	in->library = library;
	in->requester = requester;
	return true;
}

void inside_env_set(const struct inside *in, const char *dir)
{
	setenv("LD_PRELOAD", in->library, 1);
	setenv("CKPT_SIGNAL", "64", 1);
	setenv("CKPT_ENGINE", in->requester, 1);
	setenv("CKPT_DIR", dir, 1);
}

void inside_env_clear(void)
{
	unsetenv("LD_PRELOAD");
	unsetenv("CKPT_SIGNAL");
	unsetenv("CKPT_ENGINE");
	unsetenv("CKPT_DIR");
}

pid_t inside_spawn(const struct inside *in, char *const argv[], const char *out, const char *cwd,
		   const char *dir)
{
	pid_t pid;

	inside_env_set(in, dir);
	pid = test_spawn(argv, out, cwd);
	inside_env_clear();
	return pid;
}
