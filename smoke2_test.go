package asyncio_test
import ("testing";"context";"time";"fmt";"io";"net/http";"net/http/httptest";"crypto/tls";"errors";"syscall"
 . "github.com/goasyncio/asyncio")
func TestSmokeStream(t *testing.T){
 hs:=httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter,r *http.Request){ fmt.Fprintf(w,"hi %s",r.Host)})); defer hs.Close()
 cfg:=hs.Client().Transport.(*http.Transport).TLSClientConfig
 err:=Run(context.Background(), func(ctx context.Context) error {
  srv,err:=StartServer(ctx,"tcp","localhost:0",func(ctx context.Context,r *StreamReader,w *StreamWriter) error { for line,err:=range r.Lines(ctx) { if err!=nil {return err}; w.Write(line); if err:=w.Drain(ctx);err!=nil{return err}}; return nil},nil)
  if err!=nil {return err}
  fmt.Println(srv)
  r,w,err:=OpenConnection(ctx,"tcp",srv.Addr().String(),nil)
  if err!=nil {return err}
  for i:=range 3 { fmt.Fprintf(w,"line %d\n",i); l,err:=r.ReadLine(ctx); fmt.Printf("%q %v\n",l,err) }
  w.WriteEOF(); l,err:=r.ReadLine(ctx); fmt.Printf("%q %v\n",l,err); w.Close(); fmt.Println(w.WaitClosed(ctx)); 
  l,err=r.ReadLine(ctx); fmt.Printf("%q %v\n",l,err)
  _,err=w.Write([]byte("x")); fmt.Println(err, w)
  srv.Close(); fmt.Println(srv.WaitClosed(ctx))
  _,_,err=OpenConnection(ctx,"tcp","127.0.0.1:1",nil); fmt.Println(err, errors.Is(err,syscall.ECONNREFUSED))
  _,_,err=OpenConnection(ctx,"tcp","nosuch.invalid:80",nil); fmt.Println(err)
  c:=&tls.Config{RootCAs: cfg.RootCAs, ServerName:"example.com"}
  r,w,err=OpenConnection(ctx,"tcp",hs.Listener.Addr().String(),&ConnOptions{TLS:c}); if err!=nil {return err}
  fmt.Fprintf(w,"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n"); b,err:=r.ReadAll(ctx); fmt.Printf("%q %v\n",b,err); w.Close(); w.WaitClosed(ctx)
  _,_,err=OpenConnection(ctx,"tcp",hs.Listener.Addr().String(),&ConnOptions{TLS:&tls.Config{}}); fmt.Println(err)
  return nil
 })
 fmt.Println(err); _=io.EOF; _=time.Now
}
