/* The interface of DMTCP's plugins (3.2, 4.2, 5.0), as far as ours use it. */

#pragma once

/* DMTCP's events */
enum {
    BEGIN = 0,
    AFTER_EXEC = 3,
    IN_CHILD = 6,
    BEFORE_SUSPENSION = 15,
    BEFORE_IMAGES = 16,
    AFTER_IMAGES = 17,
    AFTER_RESTART = 18,
    RUNS = 19,
    THREAD_GOES_ON = 20,
    FILE_IS_OPEN = 21
};

/* DmtcpPluginDescriptor_t, which is passed by value */
struct plugin {
    const char *api, *version, *name, *author, *email, *text;
    void (*hook)(int event, void *data);
};
