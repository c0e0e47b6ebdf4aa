/* MODULE(name): an extension module with one function, value(), that gives VALUE as an int. */
#include <Python.h>

#define MODULE(NAME, VALUE)                                                              \
    static PyObject *NAME##_value(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))  \
    {                                                                                    \
        return PyLong_FromLong(VALUE);                                                   \
    }                                                                                    \
    static PyMethodDef NAME##_methods[] = {{"value", NAME##_value, METH_NOARGS, NULL},   \
                                           {NULL, NULL, 0, NULL}};                       \
    static struct PyModuleDef NAME##_module = {.m_base = PyModuleDef_HEAD_INIT,          \
                                               .m_name = #NAME,                          \
                                               .m_size = 0,                              \
                                               .m_methods = NAME##_methods};             \
    PyMODINIT_FUNC PyInit_##NAME(void) { return PyModule_Create(&NAME##_module); }
