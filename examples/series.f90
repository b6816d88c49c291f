! Power iteration for the largest eigenvalue of a Hilbert matrix: series [STEPS]
program series
  use, intrinsic :: iso_c_binding, only: c_int
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none
  interface
    integer(c_int) function usleep(microseconds) bind(c)
      import :: c_int
      integer(c_int), value :: microseconds
    end function usleep
  end interface
  integer, parameter :: n = 500
  real(real64) :: a(n, n), x(n), total
  integer :: steps, step, i, j, ignored
  character(len=16) :: word

  steps = 300
  if (command_argument_count() > 0) then
    call get_command_argument(1, word)
    read (word, *) steps
  end if
  a = reshape([((1.0_real64 / (i + j - 1), i = 1, n), j = 1, n)], [n, n])
  x = 1.0_real64
  total = 0.0_real64
  do step = 1, steps
    x = matmul(a, x)
    total = total + norm2(x) * step
    x = x / norm2(x)
    x(mod(step, n) + 1) = 1.0_real64
    print '(i0, 1x, f0.10)', step, total
    ignored = usleep(95000_c_int)
  end do
  print '(a, i0, 1x, f0.10)', 'done ', steps, total
end program series
