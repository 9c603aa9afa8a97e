# prepare: python3 -c "import tarfile,io;t=tarfile.open('n.tar','w');[(lambda i:(setattr(i,'size',1),t.addfile(i,io.BytesIO(b'x'))))(tarfile.TarInfo(n)) for n in ('/abs/f','./dot/f','a/./b/f','a//c','x/../y')];t.close()"
FROM base
ADD n.tar /n/
