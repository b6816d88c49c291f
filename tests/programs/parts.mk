# Parts, two at a time, and their sum: make -j2 -f parts.mk [STEPS=PARTS]
STEPS ?= 100
parts := $(addsuffix .part,$(shell seq $(STEPS)))

sum.txt: $(parts)
	cat $(parts) | sort -n >$@
	cksum <$@

%.part:
	sleep 0.6; echo $* $$(($* * 48271 % 2147483647)) >$@
