# Make the input of a GROMACS run in FOLDER: sh water.sh FOLDER
set -e
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
cp "$here/water.top" topol.top
cp "$here/water.mdp" grompp.mdp
gmx -quiet solvate -cs spc216.gro -box 1.9 1.9 1.9 -o conf.gro -p topol.top
gmx -quiet grompp -o water.tpr
