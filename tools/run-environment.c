/* SPDX-License-Identifier: Apache-2.0 */
/* What the program is given: the library in front of what is preloaded already, and what the
 * library has to know. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/run.h"

#define LIBRARY "libckpt-inproc.so"
#define ENGINE "ckpt-signal"

/* In the build folder, installed below any prefix, installed where it was configured. */
static const char *const library_places[] = { "%s/" LIBRARY,
					      "%s/../lib/ckpt/" LIBRARY,
					      "%s/../lib64/ckpt/" LIBRARY,
					      "%s/../lib/x86_64-linux-gnu/ckpt/" LIBRARY,
#ifdef CKPT_LIBDIR
					      CKPT_LIBDIR "/ckpt/" LIBRARY,
#endif
					      NULL };
static const char *const engine_places[] = { "%s/" ENGINE, "%s/../bin/" ENGINE, NULL };

/* The folder of our own executable. */
static void own_folder(char *buf, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", buf, size - 1);

	buf[n > 0 ? n : 0] = 0;
	if (strrchr(buf, '/'))
		*strrchr(buf, '/') = 0;
}

/* GIVEN, or the first place where it is; NULL if it is nowhere. Absolute. */
static const char *find(const char *given, const char *const *places, int mode,
			struct ckpt_arena *arena)
{
	char dir[PATH_MAX], path[PATH_MAX + 64], real[PATH_MAX];

	if (given && *given)
		return access(given, mode) == 0 && realpath(given, real) ?
			       ckpt_strdup(arena, real) :
			       NULL;
	own_folder(dir, sizeof(dir));
	for (; *places; places++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(path, sizeof(path), *places, dir);
#pragma GCC diagnostic pop
		if (access(path, mode) == 0 && realpath(path, real))
			return ckpt_strdup(arena, real);
	}
	return NULL;
}

static void preload(const char *library, struct ckpt_arena *arena)
{
	const char *old = getenv("LD_PRELOAD");
	size_t size = strlen(library) + (old ? strlen(old) : 0) + 2;
	char *all = ckpt_alloc(arena, size);

	snprintf(all, size, "%s%s%s", library, old && *old ? ":" : "", old ? old : "");
	setenv("LD_PRELOAD", all, 1);
}

int ckpt_run_environment(const struct ckpt_run_options *o, struct ckpt_arena *arena,
			 struct ckpt_err *err)
{
	const char *given = getenv("CKPT_LIBRARY");
	const char *library = find(given, library_places, R_OK, arena);
	const char *engine = find(getenv("CKPT_ENGINE"), engine_places, X_OK, arena);
	char number[16];

	if (!library)
		return ckpt_refuse(err, CKPT_E_NONE, -ENOENT,
				   "%s: cannot be read; set CKPT_LIBRARY to its path",
				   given && *given ? given : LIBRARY);
	if (strpbrk(library, " :$"))
		return ckpt_refuse(
			err, CKPT_E_NONE, -EINVAL,
			"%s: cannot be preloaded: a blank, a colon or a dollar sign is in its path; set CKPT_LIBRARY to another one",
			library);
	if (!engine)
		return ckpt_refuse(err, CKPT_E_NONE, -ENOENT,
				   ENGINE ": cannot be found; set CKPT_ENGINE to its path");
	preload(library, arena);
	setenv("CKPT_ENGINE", engine, 1);
	snprintf(number, sizeof(number), "%d", o->signal);
	setenv("CKPT_SIGNAL", number, 1);
	snprintf(number, sizeof(number), "%u", o->keep);
	setenv("CKPT_KEEP", number, 1);
	/* Not that of a ckpt-run around this one. */
	if (o->dir)
		setenv("CKPT_DIR", o->dir, 1);
	else
		unsetenv("CKPT_DIR");
	return 0;
}
