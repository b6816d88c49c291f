#!/usr/bin/perl
# Words counted in a hash, with a running sum: sum.pl [STEPS]
use strict;
use warnings;
use Time::HiRes qw(sleep);

my $steps = @ARGV ? $ARGV[0] : 300;
my ($x, $sum, %count) = (1, 0);

for my $step (1 .. $steps) {
    for (1 .. 20000) {
        $x = (16807 * $x) % 2147483647;
        $count{"word" . $x % 50}++;
    }
    $sum = ($sum * 31 + $count{"word$_"}) % 1000000007 for 0 .. 49;
    print "$step $x $sum\n";
    sleep 0.1;
}
print "done $steps $x $sum\n";
