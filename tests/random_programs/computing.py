"""Kinds of steps: what a program computes with: registers, heap, stacks, libraries."""

from __future__ import annotations

from random_programs.kind import Kind, Of, Text

KINDS = (
    Kind(
        "floating-point modes",
        of=Of.THREAD,
        c=Text(
            "OWN int rounding_model; OWN unsigned mxcsr_model; OWN unsigned short x87_model;",
            """
            rounding_model = (int)PICK(n, FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO);
            fesetround(rounding_model);
            mxcsr_model = __builtin_ia32_stmxcsr() & ~0x8040u & ~0x3fu;
            mxcsr_model |= n / 4 % 2 ? 0x8040u : 0;
            __builtin_ia32_ldmxcsr(mxcsr_model);
            __asm__ volatile("fnstcw %0" : "=m"(x87_model));
            x87_model = (unsigned short)((x87_model & ~0x300u) | PICK(n / 8, 0, 0x200, 0x300));
            __asm__ volatile("fldcw %0" : : "m"(x87_model));
            """,
            """
            unsigned short now;
            __asm__ volatile("fnstcw %0" : "=m"(now));
            same("rounding", fegetround(), rounding_model);
            same("mxcsr", __builtin_ia32_stmxcsr() & ~0x3fu, mxcsr_model);
            same("x87 control word", now, x87_model);
            """,
        ),
    ),
    Kind(
        "memory of a thread",
        of=Of.THREAD,
        c=Text(
            """
            OWN unsigned char local_data[3000];
            OWN unsigned local_seed;
            static pthread_key_t local_key;
            static pthread_once_t local_once = PTHREAD_ONCE_INIT;
            static void make_local_key(void) { pthread_key_create(&local_key, NULL); }
            """,
            """
            pthread_once(&local_once, make_local_key);
            fill(local_data, sizeof local_data, local_seed = n);
            pthread_setspecific(local_key, local_data + n % 100);
            """,
            """
            unsigned char wanted[sizeof local_data];
            fill(wanted, sizeof wanted, local_seed);
            same_bytes("content", local_data, wanted, sizeof wanted);
            same("its pointer", pthread_getspecific(local_key) == local_data + local_seed % 100, 1);
            """,
        ),
        python=Text(
            declare="_local = threading.local()", do="_local.n = m.n = n", check='same("value", _local.n, m.n)'
        ),
    ),
    Kind(
        "coroutine",
        c=Text(
            """
            MODEL ucontext_t here_context, there_context;
            MODEL char *coroutine_stack;
            MODEL unsigned long coroutine_sum, coroutine_model;
            MODEL unsigned coroutine_input;
            static void be_coroutine(void)
            {
                for (unsigned long sum = 0;;) {
                    sum = sum * 31 + coroutine_input;
                    coroutine_sum = sum;
                    swapcontext(&there_context, &here_context);
                }
            }
            """,
            """
            if (!coroutine_stack) {
                coroutine_stack = malloc(1 << 16);
                getcontext(&there_context);
                there_context.uc_stack = (stack_t){.ss_sp = coroutine_stack, .ss_size = 1 << 16};
                makecontext(&there_context, be_coroutine, 0);
            }
            coroutine_input = n;
            coroutine_model = coroutine_model * 31 + n;
            swapcontext(&here_context, &there_context);
            """,
            'same("its sum", (long)coroutine_sum, (long)coroutine_model);',
        ),
        python=Text(
            do="""
                def numbers():
                    total = 0
                    while True:
                        total += yield total
                if not hasattr(m, "numbers"):
                    m.numbers, m.total = numbers(), 0
                    next(m.numbers)
                m.total += n
                same("its sum", m.numbers.send(n), m.total)
                """,
            check='same("its sum", m.numbers.send(0), m.total)',
        ),
    ),
    Kind(
        "loaded library",
        c=Text(
            "MODEL void *library; MODEL double (*cube_root)(double);",
            """
            if (!library) {
                library = dlopen("libm.so.6", RTLD_NOW);
                cube_root = (double (*)(double))dlsym(library, "cbrt");
            }
            """,
            'same("cube root", (long)(cube_root(27.0) + 0.5), 3);',
        ),
    ),
    Kind(
        "random numbers",
        c=Text(
            "MODEL char random_state[128]; MODEL unsigned random_seed, random_taken;",
            "initstate(random_seed = n, random_state, sizeof random_state); random_taken = 0;",
            """
            long found = random();
            static char again[128];
            char *before = initstate(random_seed, again, sizeof again);
            for (unsigned i = 0; i < random_taken; i++)
                random();
            same("the next number", found, random());
            random_taken++;
            setstate(before);
            """,
        ),
        python=Text(
            do="m.one = random.Random(n); m.two = random.Random(n)", check='same("n", m.one.random(), m.two.random())'
        ),
    ),
)
