/* What every random C program ends with: its actors and its main(). */

static __thread char is_set[COUNT(kinds)];

static void check_mine(void)
{
    for (size_t k = 0; k < COUNT(kinds); k++)
        if (is_set[k] && kinds[k].check) {
            checked = kinds[k].name;
            kinds[k].check();
        }
}

static void end_mine(void)
{
    for (size_t k = 0; k < COUNT(kinds); k++)
        if (is_set[k] && kinds[k].end) {
            checked = kinds[k].name;
            kinds[k].end();
        }
}

static void obey(int order)
{
    if (order < 0) {
        is_last = order == QUIT;
        check_mine();
        if (order == QUIT)
            end_mine();
        return;
    }
    const struct step *step = &steps[order];
    for (int k = step->kind; k >= 0; k = kinds[k].needs)
        is_set[k] = 1;
    checked = kinds[step->kind].name;
    kinds[step->kind].act(step->n);
}

static void *be_actor(void *argument)
{
    const struct ends mine = *(const struct ends *)argument;
    me = mine.number;
    for (int order = 0; order != QUIT && read_all(mine.to, &order, sizeof order);) {
        obey(order);
        int found = differences;
        write_all(mine.from, &found, sizeof found);
    }
    return NULL;
}

static void be_child(struct ends *mine)
{
    for (int other = 0; other < ACTORS; other++)
        if (actors[other].is_there && other != mine->number)
            close(actors[other].to), close(actors[other].from);
    memset(__start_models, 0, (size_t)(__stop_models - __start_models));
    memset(is_set, 0, sizeof is_set);
    be_actor(mine);
    _exit(0);
}

static void start_actor(int number)
{
    static struct ends ends[ACTORS];
    int orders[2], answers[2];
    if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
        _exit(99);
    struct actor *new = &actors[number];
    *new = (struct actor){.is_there = 1, .to = orders[1], .from = answers[0]};
    ends[number] = (struct ends){.number = number, .to = orders[0], .from = answers[1]};
    if (number >= CHILDREN) {
        pthread_create(&new->thread, NULL, be_actor, &ends[number]);
        return;
    }
    new->pid = fork();
    if (new->pid == 0) {
        close(orders[1]), close(answers[0]);
        be_child(&ends[number]);
    }
    close(orders[0]), close(answers[1]);
}

static void give_order(int number, int order)
{
    if (number == 0) {
        obey(order);
        return;
    }
    if (!actors[number].is_there)
        start_actor(number);
    int found;
    write_all(actors[number].to, &order, sizeof order);
    if (!read_all(actors[number].from, &found, sizeof found)) {
        say("DIFFERS %s: it is gone\n", actor_names[number]);
        found = 1;
        actors[number].is_there = 0;
    }
    if (number < CHILDREN)
        differences += found;
}

static void order_all(int order)
{
    for (int number = 0; number < ACTORS; number++)
        if (number == 0 || actors[number].is_there)
            give_order(number, order);
}

static void leave(void)
{
    order_all(QUIT);
    for (int number = 1; number < ACTORS; number++)
        if (!actors[number].is_there) {
            continue;
        } else if (number < CHILDREN) {
            int status = -1;
            wait_for(actors[number].pid, &status, 0);
            same("the status of a child", status, 0);
        } else {
            same("joining a thread", pthread_join(actors[number].thread, NULL), 0);
        }
    if (!differences)
        say("right\n");
    exit(differences ? DIFFERS : RIGHT);
}

/* ends at once: what differs could block whatever else would be done */
static void give_up(void)
{
    for (int number = 1; number < CHILDREN; number++)
        if (actors[number].is_there)
            kill(actors[number].pid, SIGKILL);
    _exit(DIFFERS);
}

/* GO may name a later step, before which the program waits once more */
static int may_pass(int step)
{
    char text[20];
    return hold < 0 || step < hold || (text_of(go_file, text, sizeof text) && (!text[0] || step < atoi(text)));
}

static void pass(int step)
{
    nap(pause_us);
    while (!may_pass(step))
        nap(10000);
    order_all(CHECK);
    if (differences)
        give_up();
}

int main(int argc, char **argv)
{
    if (argc != 5 || !getcwd(base, sizeof base))
        return 99;
    pause_us = atol(argv[1]);
    key = atol(argv[2]);
    hold = atoi(argv[3]);
    go_file = argv[4];
    block_taken();
    for (int step = 0; step < (int)COUNT(steps); step++) {
        pass(step);
        say("step %d %s %s\n", step, actor_names[steps[step].actor], kinds[steps[step].kind].name);
        give_order(steps[step].actor, step);
    }
    pass((int)COUNT(steps));
    leave();
}
