% Iterate a matrix, one random push a step: iterate.m [STEPS]
args = argv ();
steps = 300;
if numel (args) > 0
  steps = str2double (args{1});
end

rand ("twister", 20);
n = 101;
a = magic (n) / sum (1:n:n^2);
x = ones (n, 1);
total = 0;
for step = 1:steps
  x = a * (x / norm (x)) + rand (n, 1);
  total = total + norm (x);
  printf ("%d %.8f\n", step, total);
  pause (0.09);
end
printf ("done %d %.8f\n", steps, total);
