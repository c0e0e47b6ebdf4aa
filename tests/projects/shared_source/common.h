int common_value(void);
const char *common_name(void);

#define MODULE(NAME)                                                                     \
    static PyObject *value(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))         \
    {                                                                                    \
        return PyLong_FromLong(common_value());                                          \
    }                                                                                    \
    static PyObject *name(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))          \
    {                                                                                    \
        return PyUnicode_FromString(common_name());                                      \
    }                                                                                    \
    static PyMethodDef methods[] = {{"value", value, METH_NOARGS, NULL},                 \
                                    {"name", name, METH_NOARGS, NULL},                   \
                                    {NULL, NULL, 0, NULL}};                              \
    static struct PyModuleDef module = {.m_base = PyModuleDef_HEAD_INIT,                 \
                                        .m_name = #NAME,                                 \
                                        .m_size = 0,                                     \
                                        .m_methods = methods};                           \
    PyMODINIT_FUNC PyInit_##NAME(void) { return PyModule_Create(&module); }
