# fails
# prepare: python3 -c "import tarfile,io;t=tarfile.open('n.tar','w');i=tarfile.TarInfo('../../out');i.size=1;t.addfile(i,io.BytesIO(b'x'));t.close()"
FROM base
ADD n.tar /n/
