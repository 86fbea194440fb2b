# SPDX-License-Identifier: Apache-2.0
# For gdb: the frames of every thread, "TID LEVEL PC NAME"; inlined functions have a + before their name. Left out are
# callers that jumped instead of calling, which it makes up out of debug information.
import gdb

for thread in sorted(gdb.selected_inferior().threads(), key=lambda t: t.ptid[1]):
    thread.switch()
    frame, level = gdb.newest_frame(), 0
    while frame is not None:
        if frame.type() != gdb.TAILCALL_FRAME:
            signal = frame.type() == gdb.SIGTRAMP_FRAME
            name = "<signal>" if signal else frame.name() or "??"
            if frame.type() == gdb.INLINE_FRAME:
                name = "+" + name
            print("@ %d %d %#x %s" % (thread.ptid[1] or thread.ptid[0], level, frame.pc(), name))
            level += 1
        frame = frame.older()
