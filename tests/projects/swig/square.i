%module square
%{
int square(int a);
%}
int square(int a);
