%module cube
%{
int cube(int a);
%}
int cube(int a);
