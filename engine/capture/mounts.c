/* SPDX-License-Identifier: Apache-2.0 */
/* mountinfo writes blanks and the like as "\040". */
#include "engine/capture/mounts.h"
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
			*to++ = (s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0');
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

bool ckpt_mount_next(const char **textp, struct ckpt_mount *m)
{
	while (*textp && **textp) {
		unsigned int major, minor;
		int n = sscanf(*textp, "%d %*d %u:%u %4095s %4095s", &m->id, &major, &minor,
			       m->root, m->point);
		const char *end = strchr(*textp, '\n');

		*textp = end ? end + 1 : NULL;
		if (n != 5)
			continue;
		m->dev = makedev(major, minor);
		unescape(m->root);
		unescape(m->point);
		return true;
	}
	return false;
}
